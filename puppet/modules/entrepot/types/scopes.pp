# @summary What a token must have: the scopes for all methods, or those for reading and those for writing.
type Entrepot::Scopes = Variant[
  Array[String[1]],
  Struct[{
      Optional[read]  => Variant[String[1], Array[String[1]]],
      Optional[write] => Variant[String[1], Array[String[1]]],
  }],
]
