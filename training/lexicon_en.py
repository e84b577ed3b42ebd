"""English words that documents are composed of. Shops, streets and people are made up from parts; drugs carry generic names."""

from __future__ import annotations

FIRST = tuple("James Mary Robert Linda David Susan Daniel Karen Ahmad Siti Wei Ling Priya Ravi Anna Peter Grace Thomas Emily Kumar Noor Helen Oscar Maria Hassan Jenny".split())
LAST = tuple("Smith Tan Lim Brown Wong Khan Patel Lee Garcia Ng Walker Singh Martin Chen Young Rahman Clarke Lopez Hill Adams Chong Baker Wright Osman Carter Yeo".split())
STREETS = tuple("Main High Park Oak Maple Station Market Church Harbour Garden River Mill Victoria King Queen Orchard Sunset Lake Spring Temple Beach Hill".split())
STREET_KINDS = ("Street", "St", "Road", "Rd", "Avenue", "Ave", "Lane", "Drive", "Blvd")
TOWNS = tuple("Ashford Brookfield Eastport Fairview Greenvale Hillsboro Kingsley Lakeside Milton Northgate Oakridge Riverton Springdale Westbrook Bayview Clearwater".split())

STEMS_A = tuple("Green Golden Happy Fresh Blue Silver Sunny Red Star Royal Urban Corner Daily Prime Old Little Maple River Lucky Grand Bright Harbour Stone Copper".split())
STEMS_B = tuple("Leaf Basket Gate Field Bay Bridge Oak Valley Mill Lane Wave Garden Peak House Barn Table Spoon Lantern Crown Anchor Orchard Kettle".split())
SHOP_KINDS: dict[str, tuple[str, ...]] = {
    "supermarket": ("Supermarket", "Market", "Foods", "Grocers", "Hypermarket Sdn Bhd", "Superstore", "Fresh Mart", "Trading Pte Ltd"),
    "convenience": ("Mini Mart", "Express", "Corner Store", "24h Shop", "Convenience", "Stationery", "News & Tobacco"),
    "restaurant": ("Restaurant", "Cafe", "Kitchen", "Bistro", "Diner", "Grill", "Noodle House", "Bakery", "Coffee Co.", "Pizzeria", "Bar & Grill"),
    "pharmacy": ("Pharmacy", "Chemist", "Drugstore", "Healthcare Sdn Bhd", "Pharmacy Ltd"),
    "retail": ("Apparel", "Hardware", "Books", "Electronics", "Home Living", "Shoes", "Enterprise", "Sports", "DIY Trading"),
}
GOODS: tuple[tuple[str, float], ...] = (
    ("Whole Milk 1L", 1.95), ("Free Range Eggs 12s", 4.2), ("White Bread", 2.1), ("Butter 250g", 3.9), ("Basmati Rice 5kg", 12.5), ("Olive Oil 500ml", 8.9), ("Orange Juice 1L", 3.4), ("Mineral Water 1.5L", 0.9), ("Potato Chips 150g", 2.3),
    ("Dark Chocolate", 3.2), ("Toothpaste 120g", 2.8), ("Shampoo 400ml", 6.5), ("Paper Towel 2R", 3.1), ("Dish Soap", 2.4), ("Instant Noodle 5pk", 3.6), ("Green Tea Bags 50s", 4.1), ("Cheddar 200g", 4.7), ("Corn Flakes 500g", 3.8),
    ("Tomato Paste", 1.2), ("AA Battery 4s", 5.9), ("Peanut Butter", 4.4), ("Chicken Nuggets", 7.2), ("Frozen Peas 1kg", 2.9), ("Laundry Powder 3kg", 10.9), ("Apple Juice", 2.6), ("Biscuits 300g", 2.2), ("Yogurt 4x100g", 3.3),
)
FRESH: tuple[tuple[str, float], ...] = (("Gala Apples", 3.9), ("Bananas", 1.8), ("Tomatoes", 2.7), ("Beef Mince", 11.5), ("Salmon Fillet", 24.9), ("Carrots", 1.4), ("Red Grapes", 6.2), ("Potatoes", 1.1), ("Chicken Breast", 8.4))
MENU: tuple[tuple[str, float], ...] = (
    ("Flat White", 4.5), ("Cappuccino", 4.8), ("Iced Latte", 5.5), ("Fried Rice", 9.5), ("Chicken Chop", 14.9), ("Fish & Chips", 16.5), ("Caesar Salad", 11.0), ("Margherita", 13.5), ("Beef Burger", 15.9), ("French Fries", 5.0), ("Tom Yam Soup", 12.0),
    ("Nasi Lemak", 7.5), ("Teh Tarik", 2.5), ("Lemonade", 4.0), ("Cheesecake", 6.9), ("Garlic Bread", 5.5), ("Spaghetti Bolognese", 14.0), ("Grilled Salmon", 22.5), ("Draft Beer", 8.0), ("House Wine Gls", 9.0), ("Spring Rolls", 6.0), ("Chicken Satay 6pcs", 9.0),
)
RETAIL: tuple[tuple[str, float], ...] = (
    ("Cotton T-Shirt M", 19.9), ("Slim Jeans 32", 49.9), ("Running Shoes", 89.0), ("Canvas Bag", 24.5), ("USB-C Cable 1m", 9.9), ("Wireless Mouse", 25.0), ("Notebook A5", 3.5), ("Gel Pen Blue", 1.2), ("Screwdriver Set", 18.0), ("LED Bulb 9W", 4.9),
    ("Desk Lamp", 29.0), ("Paint Brush 2in", 3.8), ("Pillow Case", 8.9), ("Socks 3pk", 9.9), ("Phone Case", 15.0), ("HDMI Cable", 12.5), ("Steel Nails 1kg", 6.4), ("Paperback Novel", 11.9),
)
DRUGS: tuple[tuple[str, str, float, str], ...] = (
    ("Amoxicillin Caps", "500mg", 12.0, "caps"), ("Ibuprofen Tabs", "200mg", 6.5, "tabs"), ("Paracetamol", "500mg", 4.2, "tabs"), ("Cetirizine", "10mg", 8.9, "tabs"), ("Omeprazole", "20mg", 14.5, "caps"), ("Metformin", "500mg", 9.8, "tabs"),
    ("Amlodipine", "5mg", 11.2, "tabs"), ("Vitamin C", "1000mg", 15.9, "tabs"), ("Cough Syrup", "120ml", 9.5, "btl"), ("Hydrocortisone Cream", "1% 15g", 7.7, "tube"), ("Loratadine", "10mg", 10.4, "tabs"), ("Azithromycin", "250mg", 21.0, "tabs"),
    ("Salbutamol Inhaler", "100mcg", 18.5, "pcs"), ("Atorvastatin", "20mg", 23.4, "tabs"), ("Oral Rehydration Salts", "10 sachets", 6.0, "box"), ("Face Mask 50s", "3-ply", 12.9, "box"), ("Adhesive Bandage", "20s", 3.5, "box"),
)
USAGES = ("Take {n} tablet 3 times daily", "{n} cap BD after food", "Sig: {n} tab TDS PO", "Apply thinly twice daily", "{n} tab once daily at night", "5ml every 6 hours", "{n} puffs when needed", "Take {n} with water, before meals")
HOSPITAL_KINDS = ("General Hospital", "Medical Centre", "Community Clinic", "Family Clinic", "Hospital", "Health Centre", "Specialist Clinic", "Children's Hospital")
DEPARTMENTS = tuple("Outpatient|Internal Medicine|Paediatrics|Dermatology|Cardiology|ENT|Orthopaedics|Emergency|General Practice|Respiratory".split("|"))
DIAGNOSES = tuple("Acute bronchitis|Upper respiratory infection|Hypertension|Type 2 diabetes|Allergic rhinitis|Gastritis|Eczema|Migraine|Otitis media|Low back pain|Tonsillitis|Conjunctivitis".split("|"))
GREETINGS = (
    "Thank you, please come again!", "THANK YOU FOR SHOPPING WITH US", "Have a nice day", "Goods sold are not refundable", "Please keep this receipt", "Exchange within 7 days with receipt", "Thank You & See You Again", "Follow us for offers",
    "Tell us how we did today", "All prices include tax where applicable", "** CUSTOMER COPY **",
)
TITLES: dict[str, tuple[str, ...]] = {
    "supermarket": ("RECEIPT", "TAX INVOICE", "SALES RECEIPT", "WELCOME"), "convenience": ("RECEIPT", "CASH SALE", "WELCOME"), "restaurant": ("GUEST CHECK", "BILL", "TAX INVOICE", "RECEIPT", "DINE IN", "TAKE AWAY"),
    "pharmacy": ("RECEIPT", "TAX INVOICE", "CASH BILL"), "retail": ("SALES RECEIPT", "TAX INVOICE", "CASH SALES", "RECEIPT"),
}
SOFTWARE = ("Powered by {a}{b} POS", "Software by {a}{b} Systems Ltd", "{a}{b} POS v{n}.{m}")
