"""The generator of deploy/crds: the models of operation_engine.domain.resources as CustomResourceDefinitions."""
