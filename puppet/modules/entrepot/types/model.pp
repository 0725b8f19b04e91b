# @summary The name of a model of Odoo, such as `sale.order`.
type Entrepot::Model = Pattern[/\A[a-z][a-z0-9_]*(\.[a-z0-9_]+)*\z/]
