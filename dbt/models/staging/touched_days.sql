-- One row a day whose sums may have changed: the days that restated lines were and are counted on.
{{ config(materialized='table') }}

with days as (
    select l.ordered_on as sales_date
    from {{ ref('sales_lines') }} as l
    where l.order_detail_id in (select order_detail_id from {{ ref('restated_lines') }})
    union distinct
    select old_day as sales_date
    from {{ ref('changed_lines') }}
    where old_day is not null
)

select sales_date
from days
