"""From a study file to records: the file (`file`), its meaning (`spec`), the stages (`plan`), the work (`run`)."""
