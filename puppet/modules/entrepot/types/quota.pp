# @summary So many requests in a day of UTC.
type Entrepot::Quota = Struct[{ day => Integer[1] }]
