# frozen_string_literal: true

require 'json'

# @summary Returns a document of the catalog as indented JSON.
#
# stdlib's own function has one name before its release 9 and another one from then on.
#
# @api private
Puppet::Functions.create_function(:'entrepot::document') do
  # @param content
  #   What the document says.
  # @return [String]
  #   The text, with a line break at its end.
  dispatch :document do
    param 'Hash[String[1], Data]', :content
    return_type 'String[1]'
  end

  def document(content)
    "#{JSON.pretty_generate(content)}\n"
  end
end
