# @summary The settings; a change is checked before it replaces anything.
# @api private
class entrepot::config {
  assert_private()

  $staged = "${entrepot::directory}/settings.staged"
  # The check reads what it is given and the files of conf.d beside it: there are none where those are to go.
  $checked = $entrepot::purge_settings ? { true => $staged, default => $entrepot::directory }

  file { $staged:
    ensure => directory,
    owner  => 'root',
    group  => $entrepot::group,
    mode   => '0750',
  }
  -> file { "${entrepot::directory}/entrepot.ini":
    ensure           => file,
    owner            => 'root',
    group            => $entrepot::group,
    mode             => '0640',
    content          => Sensitive(epp('entrepot/entrepot.ini.epp', { 'settings' => $entrepot::settings })),
    show_diff        => false,
    backup           => false,
    staging_location => $checked,
    validate_cmd     => '/usr/bin/entrepot check --settings % --settings-only',
  }
  # Last, so that settings which are refused leave all as it was.
  -> file { "${entrepot::directory}/conf.d":
    ensure  => directory,
    owner   => 'root',
    group   => $entrepot::group,
    mode    => '0750',
    recurse => $entrepot::purge_settings,
    purge   => $entrepot::purge_settings,
  }
}
