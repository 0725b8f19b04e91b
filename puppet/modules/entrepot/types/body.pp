# @summary The JSON Schema of a body: itself, or the file that it is in on the host.
type Entrepot::Body = Struct[{ schema => Variant[Stdlib::Absolutepath, Hash[String[1], Data]] }]
