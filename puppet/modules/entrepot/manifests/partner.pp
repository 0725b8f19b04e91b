# @summary A company that trades through the gateway, and its programs.
#
# @example A partner with one program
#   entrepot::partner { 'azure':
#     company => 'Azure Interior',
#     values  => { 'contact' => 14 },
#     clients => { 'shop' => { 'scopes' => ['orders.read', 'orders.write'], 'networks' => ['10.0.0.0/8'] } },
#   }
#
# @param company
#   The company's name: the key `name` of the catalog, a word that Puppet keeps for itself.
# @param values
#   What `{partner.KEY}` stands for in endpoints: it decides whose records the partner sees.
# @param clients
#   Its programs, by name. One that is left out later is refused within a second.
# @param max_queued
#   How many of its writes may wait; further ones are refused with 429.
# @param max_queued_bytes
#   How many bytes of them may wait.
define entrepot::partner (
  String[1]                                        $company,
  Optional[Hash[Entrepot::Key, Scalar]]            $values           = undef,
  Optional[Hash[Entrepot::Name, Entrepot::Client]] $clients          = undef,
  Optional[Integer[0]]                             $max_queued       = undef,
  Optional[Entrepot::Size]                         $max_queued_bytes = undef,
) {
  entrepot::object { "partner ${name}":
    section => 'partners',
    object  => $name,
    keys    => {
      'name'             => $company,
      'values'           => $values,
      'clients'          => $clients,
      'max_queued'       => $max_queued,
      'max_queued_bytes' => $max_queued_bytes,
    },
  }
}
