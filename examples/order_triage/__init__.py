"""Orders checked, reserved and routed."""
