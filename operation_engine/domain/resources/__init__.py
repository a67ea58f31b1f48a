"""The three custom resources as values: what the API server holds, parsed, and written back.

common (base model, durations, timestamps), operation with operation_spec, operation_parameters and operation_status,
cluster, application_instance; schema is what a model tells the CRD generator. Import from these modules.
"""
