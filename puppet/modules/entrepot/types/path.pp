# @summary A path of a URL, which begins with a slash.
type Entrepot::Path = Pattern[/\A\/\S*\z/]
