"""Audits: suspect -> evidence -> verdict; the zoo of suspects and the score of an audit on it."""
