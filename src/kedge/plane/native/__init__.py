"""The native data plane: `kedge._dataplane` behind the one contract of all planes."""

from kedge.plane.native.plane import NativePlane

__all__ = ["NativePlane"]
