/* Does this CPU have the features a library was compiled for? */
#ifndef TILEWRIGHT_CPU_H
#define TILEWRIGHT_CPU_H

#include <stddef.h>

/* Write the names of the features that this CPU (or its operating system) lacks to text, separated by ", ", and return
 * how many they are. A name that is not known is lacking. features ends with NULL. */
int tw_cpu_lacks(const char* const* features, char* text, size_t bytes);

#endif
