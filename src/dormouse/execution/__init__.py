"""Who does the stages: the scheduler, this machine, Ray, executors of plug-ins; the journal and the estimate."""
