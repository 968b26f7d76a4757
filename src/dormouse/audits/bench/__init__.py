"""The benchmark of audits: blind suspects, a sandbox, what a scanner answers, its score and the leaderboard."""
