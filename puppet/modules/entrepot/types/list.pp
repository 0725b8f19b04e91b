# @summary Several values of a setting, such as networks or addresses; each in a line of its own in Hiera, or one text.
type Entrepot::List = Variant[String[1], Array[Pattern[/\A\S+\z/]]]
