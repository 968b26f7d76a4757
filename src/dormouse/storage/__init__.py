"""The disk: what a store holds, which study needs what, and what may go."""
