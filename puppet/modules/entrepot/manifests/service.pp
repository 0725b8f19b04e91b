# @summary The sockets, the daemons behind them, and the timers.
# @api private
class entrepot::service {
  assert_private()

  $sockets = ['gateway', 'portal', 'console'].map |$daemon| { "entrepot-${daemon}.socket" }
  $timers = ['backup', 'keys', 'retention'].map |$work| { "entrepot-${work}.timer" }
  $daemons = ['gateway', 'portal', 'console', 'courier'].map |$daemon| { "entrepot-${daemon}.service" }

  # They come first in both directions: an open socket would start the daemon behind it again. They subscribe to
  # nothing: a socket that is restarted refuses connections meanwhile.
  service { $sockets + $timers:
    ensure => $entrepot::service_ensure,
    enable => $entrepot::service_enable,
  }

  service { $daemons:
    ensure  => $entrepot::service_ensure,
    enable  => $entrepot::service_enable,
    require => Service[$sockets],
  }

  # Not on refresh: a run that fails before it comes here has changed the files, and no later run does. The courier has
  # no reload that could refuse them, so it waits for those that have one.
  $in_force = "${entrepot::directory}/settings.in-force"
  $there = "stat -c %.9Y ${entrepot::directory}/entrepot.ini ${entrepot::directory}/conf.d"
  exec { 'entrepot: bring the settings into force':
    provider => shell,
    path     => ['/usr/bin', '/bin'],
    command  => "${there} >${in_force}.new && systemctl try-reload-or-restart ${daemons[0, 3].join(' ')} && \
systemctl try-restart ${daemons[3]} && mv ${in_force}.new ${in_force}",
    unless   => "${there} | cmp -s - ${in_force}",
    require  => Service[$daemons],
  }

  # A reload would leave them with the secrets that they were started with. The sockets stay open. Not on refresh either,
  # and not with settings that were refused. What is dated in the future is not new in every run until then.
  $stale = $daemons.map |$daemon| {
    "{ systemctl is-active -q ${daemon} && find ${entrepot::directory}/credentials -type f \
-newermt \"$(systemctl show -P InactiveExitTimestamp --timestamp=us+utc ${daemon})\" ! -newermt now | grep -q .; }"
  }
  exec { 'entrepot: hand out the secrets':
    provider => shell,
    path     => ['/usr/bin', '/bin'],
    command  => "systemctl try-restart ${daemons.join(' ')}",
    onlyif   => $stale.join(' || '),
    require  => Exec['entrepot: bring the settings into force'],
  }

  service { 'entrepot.target':
    ensure  => $entrepot::service_ensure,
    enable  => $entrepot::service_enable,
    require => Service[$daemons],
  }
}
