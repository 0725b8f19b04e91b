# @summary What may be done with the records of a model.
type Entrepot::Operation = Enum['list', 'read', 'create', 'update', 'delete']
