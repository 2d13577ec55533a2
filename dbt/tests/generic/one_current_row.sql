{#- Members with more than one current version. Returns the members and how many they have. -#}
{% test one_current_row(model, member) %}
select {{ member }}, count(*) as current_rows
from {{ model }}
where is_current
group by {{ member }}
having count(*) > 1
{% endtest %}
