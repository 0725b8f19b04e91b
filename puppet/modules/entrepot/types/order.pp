# @summary What a queued write waits for: those of the same record, partner or endpoint, with the same field, or nothing.
type Entrepot::Order = Pattern[/\A(record|partner|endpoint|none|field:\S+)\z/]
