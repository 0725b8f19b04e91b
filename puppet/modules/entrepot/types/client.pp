# @summary A program of a partner. Its name is the OAuth `client_id`, and no other client of the catalog has it.
type Entrepot::Client = Struct[{
    scopes             => Array[String[1]],
    Optional[rate]     => Entrepot::Rate,
    Optional[quota]    => Entrepot::Quota,
    Optional[networks] => Array[String[1]],
    Optional[api_keys] => Boolean,
    Optional[plan]     => Entrepot::Name,
}]
