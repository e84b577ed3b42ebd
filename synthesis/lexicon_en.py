"""English words of synthetic documents. Shops, streets and people are composed of parts; drugs have generic names."""

from __future__ import annotations

from synthesis.lexicon_format import priced, stocked, words

FIRST = words("""
    James; Mary; Robert; Linda; David; Susan; Daniel; Karen; Ahmad; Siti; Wei; Ling; Priya; Ravi; Anna; Peter; Grace;
    Thomas; Emily; Kumar; Noor; Helen; Oscar; Maria; Hassan; Jenny;
""")
LAST = words("""
    Smith; Tan; Lim; Brown; Wong; Khan; Patel; Lee; Garcia; Ng; Walker; Singh; Martin; Chen; Young; Rahman; Clarke;
    Lopez; Hill; Adams; Chong; Baker; Wright; Osman; Carter; Yeo;
""")
STREETS = words("""
    Main; High; Park; Oak; Maple; Station; Market; Church; Harbour; Garden; River; Mill; Victoria; King; Queen;
    Orchard; Sunset; Lake; Spring; Temple; Beach; Hill;
""")
STREET_KINDS = words("""
    Street; St; Road; Rd; Avenue; Ave; Lane; Drive; Blvd;
""")
TOWNS = words("""
    Ashford; Brookfield; Eastport; Fairview; Greenvale; Hillsboro; Kingsley; Lakeside; Milton; Northgate; Oakridge;
    Riverton; Springdale; Westbrook; Bayview; Clearwater;
""")
STEMS_A = words("""
    North; South; East; West; Silent; Hidden; Twin; Crystal; Amber; Ivory; Rosy; Merry; Noble; Smart; Value; Quick;
    Wild; Pure; Cosy; Green; Golden; Happy; Fresh; Blue; Silver; Sunny; Red; Star; Royal; Urban; Corner; Daily; Prime;
    Old; Little; Maple; River; Lucky; Grand; Bright; Harbour; Stone; Copper;
""")
STEMS_B = words("""
    Pine; Cedar; Fox; Bear; Falcon; Harvest; Meadow; Dragon; Lotus; Pearl; Panda; Bamboo; Compass; Pantry; Larder;
    Square; Stone; Ridge; Leaf; Basket; Gate; Field; Bay; Bridge; Oak; Valley; Mill; Lane; Wave; Garden; Peak; House;
    Barn; Table; Spoon; Lantern; Crown; Anchor; Orchard; Kettle;
""")
SHOP_KINDS = {
    "supermarket": words("""
        Supermarket; Market; Foods; Grocers; Hypermarket Sdn Bhd; Superstore; Fresh Mart; Trading Pte Ltd;
    """),
    "convenience": words("""
        Mini Mart; Express; Corner Store; 24h Shop; Convenience; Stationery; News & Tobacco;
    """),
    "restaurant": words("""
        Restaurant; Cafe; Kitchen; Bistro; Diner; Grill; Noodle House; Bakery; Coffee Co.; Pizzeria; Bar & Grill;
    """),
    "pharmacy": words("""
        Pharmacy; Chemist; Drugstore; Healthcare Sdn Bhd; Pharmacy Ltd;
    """),
    "retail": words("""
        Apparel; Hardware; Books; Electronics; Home Living; Shoes; Enterprise; Sports; DIY Trading;
    """),
}
GOODS = priced("""
    Sea Salt 500g:1.6; Brown Sugar 1kg:2.3; Plain Flour 2kg:2.9; Soy Sauce 500ml:3.7; Chili Sauce:2.5;
    Canned Tuna:1.9; Baked Beans:1.1; Ice Cream 1L:5.4; Frozen Pizza:4.9; Sausages 8s:3.6; Bacon 200g:3.9;
    Cooking Oil 2L:7.8; Hand Soap:2.2; Tissue Box:1.7; Sponge 3s:1.5; Garbage Bags 30s:3.3; Cat Food 85g:0.9;
    Dog Treats:4.5; Baby Wipes:2.8; Razor 5s:6.9; Energy Drink:2.4; Iced Tea 500ml:1.8; Cola 330ml:1.2;
    CHOC COOKIES 200G:2.7; GUM MINT:1.0; Umbrella:9.9; Batteries C 2s:4.8; Rice Crackers:2.0; Muesli Bar 6s:3.4;
    Honey 375g:5.6; Whole Milk 1L:1.95; Free Range Eggs 12s:4.2; White Bread:2.1; Butter 250g:3.9;
    Basmati Rice 5kg:12.5; Olive Oil 500ml:8.9; Orange Juice 1L:3.4; Mineral Water 1.5L:0.9; Potato Chips 150g:2.3;
    Dark Chocolate:3.2; Toothpaste 120g:2.8; Shampoo 400ml:6.5; Paper Towel 2R:3.1; Dish Soap:2.4;
    Instant Noodle 5pk:3.6; Green Tea Bags 50s:4.1; Cheddar 200g:4.7; Corn Flakes 500g:3.8; Tomato Paste:1.2;
    AA Battery 4s:5.9; Peanut Butter:4.4; Chicken Nuggets:7.2; Frozen Peas 1kg:2.9; Laundry Powder 3kg:10.9;
    Apple Juice:2.6; Biscuits 300g:2.2; Yogurt 4x100g:3.3;
""")
FRESH = priced("""
    Gala Apples:3.9; Bananas:1.8; Tomatoes:2.7; Beef Mince:11.5; Salmon Fillet:24.9; Carrots:1.4; Red Grapes:6.2;
    Potatoes:1.1; Chicken Breast:8.4;
""")
MENU = priced("""
    Espresso:3.2; Mocha:5.2; Hot Chocolate:4.6; Green Tea Pot:4.0; Orange Juice:5.0; Club Sandwich:12.5;
    Avocado Toast:13.0; Pancakes:11.5; Eggs Benedict:14.5; Mushroom Soup:7.9; Lamb Rack:28.0; Ribeye Steak 250g:32.0;
    Chicken Rice:6.5; Wonton Noodle:7.2; Char Kway Teow:8.0; Roti Canai:2.0; Mee Goreng:8.5; Curry Laksa:9.0;
    Dim Sum Set:16.8; Pad Thai:12.8; Pepperoni Pizza L:19.5; Tiramisu:7.5; Apple Pie:6.0; Sparkling Water:3.5;
    Craft Lager Pint:9.5; Mojito:13.0; Kids Meal:8.8; Set Lunch A:15.0; Side Salad:5.5; Extra Cheese:1.5;
    Flat White:4.5; Cappuccino:4.8; Iced Latte:5.5; Fried Rice:9.5; Chicken Chop:14.9; Fish & Chips:16.5;
    Caesar Salad:11; Margherita:13.5; Beef Burger:15.9; French Fries:5; Tom Yam Soup:12; Nasi Lemak:7.5;
    Teh Tarik:2.5; Lemonade:4; Cheesecake:6.9; Garlic Bread:5.5; Spaghetti Bolognese:14; Grilled Salmon:22.5;
    Draft Beer:8; House Wine Gls:9; Spring Rolls:6; Chicken Satay 6pcs:9;
""")
RETAIL = priced("""
    Cotton T-Shirt M:19.9; Slim Jeans 32:49.9; Running Shoes:89; Canvas Bag:24.5; USB-C Cable 1m:9.9;
    Wireless Mouse:25; Notebook A5:3.5; Gel Pen Blue:1.2; Screwdriver Set:18; LED Bulb 9W:4.9; Desk Lamp:29;
    Paint Brush 2in:3.8; Pillow Case:8.9; Socks 3pk:9.9; Phone Case:15; HDMI Cable:12.5; Steel Nails 1kg:6.4;
    Paperback Novel:11.9;
""")
DRUGS = stocked("""
    Losartan:13.6:50mg|tabs; Simvastatin:10.9:20mg|tabs; Prednisolone:7.4:5mg|tabs; Clarithromycin:26.5:500mg|tabs;
    Diclofenac:8.1:50mg|tabs; Antacid Suspension:7.9:200ml|btl; Fusidic Acid Cream:12.2:2% 15g|tube;
    Folic Acid:3.9:5mg|tabs; Gliclazide:12.4:80mg|tabs; Amoxicillin Caps:12:500mg|caps; Ibuprofen Tabs:6.5:200mg|tabs;
    Paracetamol:4.2:500mg|tabs; Cetirizine:8.9:10mg|tabs; Omeprazole:14.5:20mg|caps; Metformin:9.8:500mg|tabs;
    Amlodipine:11.2:5mg|tabs; Vitamin C:15.9:1000mg|tabs; Cough Syrup:9.5:120ml|btl;
    Hydrocortisone Cream:7.7:1% 15g|tube; Loratadine:10.4:10mg|tabs; Azithromycin:21:250mg|tabs;
    Salbutamol Inhaler:18.5:100mcg|pcs; Atorvastatin:23.4:20mg|tabs; Oral Rehydration Salts:6:10 sachets|box;
    Face Mask 50s:12.9:3-ply|box; Adhesive Bandage:3.5:20s|box;
""")
USAGES = words("""
    Take {n} tablet 3 times daily; {n} BD after food; Sig: {n} TDS PO; {n} once daily at night;
    Take {n} with water, before meals; Take {n} every 8 hours; {n} twice daily for 5 days; Sig: {n} po q6h prn;
    {n} in the morning;
""")
USAGES_OUTER = words("""
    Apply thinly twice daily; Apply to affected area BD;
""")
USAGES_LIQUID = words("""
    5ml every 6 hours; 10ml TDS; {n} puffs when needed;
""")
HOSPITAL_KINDS = words("""
    General Hospital; Medical Centre; Community Clinic; Family Clinic; Hospital; Health Centre; Specialist Clinic;
    Children's Hospital;
""")
DEPARTMENTS = words("""
    Outpatient; Internal Medicine; Paediatrics; Dermatology; Cardiology; ENT; Orthopaedics; Emergency;
    General Practice; Respiratory;
""")
DIAGNOSES = words("""
    Acute bronchitis; Upper respiratory infection; Hypertension; Type 2 diabetes; Allergic rhinitis; Gastritis;
    Eczema; Migraine; Otitis media; Low back pain; Tonsillitis; Conjunctivitis;
""")
GREETINGS = words("""
    Thank you, please come again!; THANK YOU FOR SHOPPING WITH US; Have a nice day; Goods sold are not refundable;
    Please keep this receipt; Exchange within 7 days with receipt; Thank You & See You Again; Follow us for offers;
    Tell us how we did today; All prices include tax where applicable; ** CUSTOMER COPY **;
""")
TITLES = {
    "supermarket": words("""
        RECEIPT; TAX INVOICE; SALES RECEIPT; WELCOME;
    """),
    "convenience": words("""
        RECEIPT; CASH SALE; WELCOME;
    """),
    "restaurant": words("""
        GUEST CHECK; BILL; TAX INVOICE; RECEIPT; DINE IN; TAKE AWAY;
    """),
    "pharmacy": words("""
        RECEIPT; TAX INVOICE; CASH BILL;
    """),
    "retail": words("""
        SALES RECEIPT; TAX INVOICE; CASH SALES; RECEIPT;
    """),
}
SOFTWARE = words("""
    Powered by {a}{b} POS; Software by {a}{b} Systems Ltd; {a}{b} POS v{n}.{m};
""")
