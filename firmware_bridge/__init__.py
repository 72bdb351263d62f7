"""Bytes on a wire: EMG front ends, prosthetic hands, and an emulator of each."""
