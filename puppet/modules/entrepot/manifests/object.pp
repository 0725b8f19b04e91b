# @summary One object of the catalog, as a file of its own.
#
# @param section
#   The section of the catalog that it is in.
# @param object
#   Its name there.
# @param keys
#   Its keys; those without a value are left out.
#
# @api private
define entrepot::object (
  Enum['upstreams', 'endpoints', 'partners', 'plans'] $section,
  Entrepot::Name                                      $object,
  Hash[String[1], Any]                                $keys,
) {
  assert_private()
  include entrepot

  $document = { $section => { $object => $keys.filter |$_, $value| { $value =~ NotUndef } } }

  file { "${entrepot::directory}/catalog.staged/${section}-${object}.yaml":
    ensure  => file,
    owner   => 'root',
    group   => $entrepot::group,
    mode    => '0640',
    # JSON is YAML 1.2, and leaves no doubt about what is a text: Ruby writes YAML 1.1.
    content => "# Managed by Puppet: what is changed here is put back by the next run.\n${entrepot::document($document)}",
    before  => Exec['entrepot: check the catalog'],
  }
}
