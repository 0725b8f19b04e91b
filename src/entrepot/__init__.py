"""Entrepot: an on-prem API gateway between an Odoo ERP and the partners who trade with it.

The packages are floors of a house; imports go down only (``docs/architecture.rst``).
"""
