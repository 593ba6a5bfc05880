"""Tests of the desk without a bus."""
