# @summary The settings file: sections, and their keys. What is left out has the default of the package.
#
# What each key means stands in the reference of the settings, and in the comments of the packaged defaults. A list is
# written with spaces between its members.
type Entrepot::Settings = Struct[{
    Optional[store]   => Struct[{
        Optional[directory] => Stdlib::Absolutepath,
        Optional[url]       => Variant[String[1], Sensitive[String[1]]],
    }],
    Optional[gateway] => Struct[{
        Optional[bind]               => Entrepot::List,
        Optional[workers]            => Variant[Enum['auto'], Integer[1, 512]],
        Optional[public_url]         => Stdlib::HTTPUrl,
        Optional[trusted]            => Entrepot::List,
        Optional[forwarded]          => Enum['x-forwarded-for', 'forwarded'],
        Optional[header_timeout]     => Entrepot::Duration,
        Optional[body_timeout]       => Entrepot::Duration,
        Optional[idle_timeout]       => Entrepot::Duration,
        Optional[write_timeout]      => Entrepot::Duration,
        Optional[graceful_timeout]   => Entrepot::Duration,
        Optional[max_header]         => Entrepot::Size,
        Optional[max_target]         => Entrepot::Size,
        Optional[max_fields]         => Integer[10, 10000],
        Optional[max_connections]    => Integer[1],
        Optional[cache_memory]       => Entrepot::Size,
        Optional[cache_disk]         => Entrepot::Size,
        Optional[max_revocation_age] => Variant[Enum['never'], Entrepot::Duration],
        Optional[access_log]         => Boolean,
    }],
    Optional[portal]  => Struct[{
        Optional[bind]             => Pattern[/\Aunix:(\/|\{directory\}\/)/],
        Optional[workers]          => Integer[1, 64],
        Optional[threads]          => Integer[1, 256],
        Optional[graceful_timeout] => Entrepot::Duration,
    }],
    Optional[console] => Struct[{
        Optional[bind]             => Entrepot::List,
        Optional[public_url]       => Stdlib::HTTPUrl,
        Optional[trusted]          => Entrepot::List,
        Optional[threads]          => Integer[2, 256],
        Optional[idle_timeout]     => Entrepot::Duration,
        Optional[session]          => Entrepot::Duration,
        Optional[graceful_timeout] => Entrepot::Duration,
    }],
    Optional[metrics] => Struct[{
        Optional[allow] => Entrepot::List,
    }],
    Optional[ledger]  => Struct[{
        Optional[bodies]   => Entrepot::Duration,
        Optional[rows]     => Entrepot::Duration,
        Optional[kept]     => Entrepot::Size,
        Optional[keys]     => Entrepot::Duration,
        Optional[min_free] => Entrepot::Size,
    }],
    Optional[courier] => Struct[{
        Optional[lease]            => Entrepot::Duration,
        Optional[poll]             => Entrepot::Duration,
        Optional[graceful_timeout] => Entrepot::Duration,
    }],
    Optional[keys]    => Struct[{
        Optional[master]       => Pattern[/\Aauto\z/, /\Afile:\/.+\z/, /\Acredential:[^\/]+\z/],
        Optional[rotate_after] => Entrepot::Duration,
    }],
    Optional[tokens]  => Struct[{
        Optional[expires]     => Entrepot::Duration,
        Optional[max_expires] => Entrepot::Duration,
        Optional[leeway]      => Entrepot::Duration,
        Optional[per_minute]  => Integer[1, 1000000],
    }],
    Optional[log]     => Struct[{
        Optional[level]         => Enum['debug', 'info', 'warning', 'error', 'critical'],
        Optional[target]        => Enum['auto', 'journal', 'stderr'],
        Optional[access]        => Enum['all', 'errors', 'sampled'],
        Optional[access_slow]   => Entrepot::Duration,
        Optional[access_sample] => Integer[1],
        Optional[access_most]   => Integer[0],
    }],
}]
