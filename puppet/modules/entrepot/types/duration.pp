# @summary A number and a unit: `500ms`, `30s`, `5m`, `24h`, `7d`.
type Entrepot::Duration = Pattern[/\A[0-9]+(\.[0-9]+)?(ms|s|m|h|d)\z/]
