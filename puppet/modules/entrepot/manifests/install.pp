# @summary The apt source, where one is given, and the package.
# @api private
class entrepot::install {
  assert_private()

  if $entrepot::repository {
    contain entrepot::repository
    Class['entrepot::repository'] -> Package['entrepot']
  }

  package { 'entrepot':
    ensure => $entrepot::package_ensure,
  }
}
