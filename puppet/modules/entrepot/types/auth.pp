# @summary The gateway's own account at an HTTP upstream: one of the three, with the secret as a reference.
type Entrepot::Auth = Variant[
  Struct[{ bearer => String[1] }],
  Struct[{ basic => Struct[{ user => String[1], password => String[1] }] }],
  Struct[{ header => Struct[{ name => String[1], value => String[1] }] }],
]
