# @summary A public field: the name of Odoo's, or its keys (`from`, `type`, `required`, …).
type Entrepot::Field = Variant[String[1], Hash[String[1], Data]]
