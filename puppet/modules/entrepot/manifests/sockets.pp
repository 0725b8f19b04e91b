# @summary Lets systemd's sockets listen where the settings say, which a daemon alone cannot.
#
# A change closes a socket for a moment: the one change here that refuses connections. Where it cannot listen, it goes
# back to where it did, and the run fails.
# @api private
class entrepot::sockets {
  assert_private()

  ['gateway', 'console'].each |$daemon| {
    $bind = $entrepot::settings.dig($daemon, 'bind')
    $addresses = $bind ? { Array => $bind, Undef => [], default => $bind.split(/[\s,]+/) }
    $streams = $addresses.map |$address| { "ListenStream=${address.regsubst(/\Aunix:/, '')}\n" }
    $drop_in = "/etc/systemd/system/entrepot-${daemon}.socket.d"
    $socket = "entrepot-${daemon}.socket"
    $wanted = $addresses.empty ? { true => "the package's own address", default => $addresses.join(' ') }
    $refusal = "[${daemon}] bind: the socket cannot listen at ${wanted}, and goes on where it did before"

    file {
      default:
        owner => 'root',
        group => 'root',
        ;
      $drop_in:
        ensure => directory,
        mode   => '0755',
        ;
      # Without the ending .conf it is nothing to systemd.
      "${drop_in}/puppet.staged":
        ensure  => file,
        mode    => '0644',
        # The empty one takes away the package's own address.
        content => $addresses.empty ? {
          true    => '',
          default => "# Managed by Puppet, from the setting bind of [${daemon}].\n[Socket]\nListenStream=\n${streams.join}",
        },
        ;
    }
    # Not on refresh alone: after a run that failed the wrong address is there still. While there is a puppet.before, what
    # a run that was killed had begun is not at its end.
    -> exec { "entrepot: let the socket of the ${daemon} listen":
      command  => @("SH"/L),
        cd ${drop_in} && touch puppet.conf && { test -e puppet.before || cp -p puppet.conf puppet.before; } && \
        cp -p puppet.staged puppet.conf && systemctl daemon-reload && systemctl try-restart ${socket} || {
          echo ${shellquote($refusal)}
          journalctl -q -o cat -n 9 -u ${socket} | grep ': Failed to '
          mv puppet.before puppet.conf && systemctl daemon-reload && systemctl start ${socket} entrepot-${daemon}.service
          exit 1
        }
        rm puppet.before
        | SH
      unless   => "test ! -e ${drop_in}/puppet.before && diff -qN ${drop_in}/puppet.staged ${drop_in}/puppet.conf",
      provider => shell,
      path     => ['/usr/bin', '/bin'],
    }
  }
}
