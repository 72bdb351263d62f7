"""The board: decoder, shaper, gate, grip map, loop, guard, telemetry. No torch, ever."""
