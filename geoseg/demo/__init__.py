"""A demonstration without data: drawn scenes in DOTA's format, and every tool run on them."""

from geoseg.demo.run import DemoResult, demo

__all__ = ["DemoResult", "demo"]
