"""From a design to records: the plan, the stages, the safety pool, the run, and the folder of its results."""
