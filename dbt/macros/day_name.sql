{#- English name of a date's weekday. -#}
{% macro day_name(day) -%}
    case extract(dayofweek from {{ day }})
        {% for name in ['Sunday', 'Monday', 'Tuesday', 'Wednesday', 'Thursday', 'Friday', 'Saturday'] -%}
        when {{ loop.index }} then '{{ name }}'
        {% endfor -%}
    end
{%- endmacro %}
