# @summary A domain of Odoo: terms `[field, operator, value]`, and `&`, `|`, `!` before them.
type Entrepot::Domain = Array[Variant[Enum['&', '|', '!'], Tuple[String[1], String[1], Data]]]
