-- One row a day, 1990-01-01 .. 2100-01-01.
{{ config(materialized='table', tags=['fixed']) }}

with days as (
    select full_date
    from unnest(generate_date_array(date '1990-01-01', date '2100-01-01')) as full_date
)

select
    extract(year from full_date) * 10000 + extract(month from full_date) * 100 + extract(day from full_date) as date_key,
    full_date,
    extract(year from full_date) as year,
    extract(quarter from full_date) as quarter,
    extract(month from full_date) as month,
    extract(day from full_date) as day,
    case extract(month from full_date)
        {% for month in ['January', 'February', 'March', 'April', 'May', 'June', 'July', 'August', 'September', 'October', 'November', 'December'] -%}
        when {{ loop.index }} then '{{ month }}'
        {% endfor -%}
    end as month_name,
    {{ day_name('full_date') }} as day_of_week,
    extract(dayofweek from full_date) in (1, 7) as is_weekend
from days
