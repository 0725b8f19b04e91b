# @summary Header fields that are set on every request, and those that are taken away.
type Entrepot::Headers = Struct[{
    Optional[add]  => Hash[String[1], String],
    Optional[drop] => Array[String[1]],
}]
