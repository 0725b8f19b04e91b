# @summary How many records a page has unasked, and at most.
type Entrepot::Page = Struct[{
    Optional['default'] => Integer[1],
    Optional['max']     => Integer[1],
}]
