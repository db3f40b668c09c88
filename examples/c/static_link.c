/* Link a compiled model into the program: no file to load, no dlopen.
 *
 * TILEWRIGHT_MODEL is the model's name and comes from the Makefile; with it tilewright.h gives every function that
 * prefix, so several models can be linked into one program.
 */
#include <stdio.h>

#include "tensors.h"
#include "tilewright.h"

int main(void) {
  const tilewright_model* model = tilewright_info();
  tilewright_instance* instance;
  if (tilewright_create(0, NULL, &instance) != TILEWRIGHT_OK) {
    fprintf(stderr, "%s\n", tilewright_error(NULL));
    return 1;
  }
  void** inputs = tensors_allocate(model->inputs, model->num_inputs);
  void** outputs = tensors_allocate(model->outputs, model->num_outputs);
  for (int32_t i = 0; i < model->num_inputs; ++i) tensor_fill(&model->inputs[i], inputs[i]);

  const int failed = tilewright_run(instance, (const void* const*)inputs, outputs) != TILEWRIGHT_OK;
  if (failed) fprintf(stderr, "%s\n", tilewright_error(instance));
  for (int32_t i = 0; i < model->num_outputs && !failed; ++i) tensor_print(&model->outputs[i], outputs[i]);

  tensors_free(outputs, model->num_outputs);
  tensors_free(inputs, model->num_inputs);
  tilewright_free(instance);
  return failed;
}
