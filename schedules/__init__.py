"""Schedules: templates that turn a workload into a kernel for a target."""
