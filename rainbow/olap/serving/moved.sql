select product_id
from mirror._placements
group by product_id
having min(category_id) != max(category_id) or min(seller_id) != max(seller_id)
