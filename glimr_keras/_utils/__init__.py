"""Helpers for all subpackages: checks, files, nested dicts, signatures. Imports no other
subpackage.
"""
