"""The playground: a page on this machine in which the cues of an organism are moved by hand."""
