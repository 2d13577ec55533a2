select product_id
from mirror._placements
group by product_id
having min((category_id, seller_id)) != max((category_id, seller_id))
