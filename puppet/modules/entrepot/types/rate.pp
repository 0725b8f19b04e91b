# @summary So many requests a second in the long run, and so many at once after a pause.
type Entrepot::Rate = Struct[{
    per_second => Variant[Integer[1], Float[0.0]],
    burst      => Integer[1],
}]
