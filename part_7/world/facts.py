"""Short true texts beside the stories: facts, words and their letters, and sums.

The tables (OPPOSITES, CATEGORIES, ...) are plain dicts of true facts; later parts build exercises
on them. Below are the same facts as Words, whose forms the wordings of world/topics.py use.

Used   world/topics.py
"""

from functools import cache

from world import words as w
from world.words import Word


def pairs(text):
    """"hot:cold, big:small" -> {"hot": "cold", "big": "small"}."""
    return dict(entry.strip().split(":") for entry in " ".join(text.split()).split(","))


OPPOSITES = pairs("""
hot:cold, big:small, tall:short, fast:slow, old:young, happy:sad, wet:dry, full:empty, loud:quiet,
rich:poor, strong:weak, thick:thin, wide:narrow, deep:shallow, early:late, open:closed, near:far,
left:right, good:bad, clean:dirty, hard:soft, high:low, heavy:light, sweet:sour, true:false,
rough:smooth, sharp:blunt, cheap:expensive, easy:difficult, first:last, up:down, in:out,
above:below, before:after, inside:outside, always:never, begin:end, buy:sell, push:pull, give:take,
lose:win, laugh:cry, remember:forget, love:hate, day:night, summer:winter, north:south, east:west,
friend:enemy, top:bottom, front:back, war:peace, many:few, more:less, rise:fall, start:stop,
safe:dangerous, tame:wild""")

CATEGORIES = {name: tuple(members.split()) for name, members in {
    "animal":
        "bear camel cat cow deer dog donkey elephant fox giraffe goat horse kangaroo lion "
        "monkey mouse pig rabbit sheep tiger wolf zebra squirrel otter",
    "bird":
        "blackbird crow cuckoo duck eagle goose hawk heron ostrich owl parrot peacock penguin "
        "pigeon raven robin seagull sparrow stork swallow swan wren",
    "fish": "carp cod eel herring mackerel pike salmon sardine shark trout tuna",
    "insect":
        "ant bee beetle butterfly cricket dragonfly fly grasshopper ladybird mosquito moth "
        "wasp",
    "fruit":
        "apple apricot banana cherry grape lemon lime mango melon orange peach pear pineapple "
        "plum raspberry strawberry",
    "vegetable":
        "bean beetroot broccoli cabbage carrot cauliflower celery leek lettuce onion parsnip "
        "pea potato radish spinach turnip",
    "tree": "ash beech birch cedar elm fir hazel larch maple oak pine poplar spruce willow",
    "flower":
        "bluebell buttercup daffodil daisy dandelion lily marigold pansy poppy primrose rose "
        "sunflower tulip violet",
    "colour": "black blue brown green grey pink purple red white yellow turquoise",
    "metal": "aluminium brass bronze copper gold iron lead nickel silver steel tin zinc",
    "drink": "cider cocoa coffee juice lemonade milk tea water",
    "garment": "blouse cap cloak coat dress glove hat jacket scarf shirt skirt sock sweater vest",
    "tool": "axe chisel drill hammer rake saw screwdriver shovel spade spanner",
    "instrument":
        "accordion banjo cello drum fiddle flute guitar harp horn organ piano trumpet violin",
    "vehicle": "bicycle boat bus car cart ferry lorry plane ship sled train tram truck van wagon",
    "shape": "circle cone cube cylinder oval pyramid rectangle sphere square triangle",
    "language":
        "Danish Dutch English Finnish French German Greek Italian Polish Portuguese Spanish "
        "Swedish Turkish",
    "sport":
        "basketball boxing fencing football golf hockey judo rowing rugby sailing skating "
        "skiing swimming tennis volleyball wrestling",
    "relative":
        "aunt brother cousin daughter father grandfather grandmother mother nephew niece "
        "sister son uncle",
}.items()}
YOUNG = pairs("""
bear:cub, cat:kitten, cow:calf, deer:fawn, dog:puppy, duck:duckling, eagle:eaglet, elephant:calf,
fox:cub, frog:tadpole, goat:kid, goose:gosling, hare:leveret, hen:chick, horse:foal,
kangaroo:joey, lion:cub, owl:owlet, pig:piglet, sheep:lamb, swan:cygnet, tiger:cub, whale:calf,
wolf:cub""")
SOUNDS = pairs("""
bee:buzzes, bird:sings, cat:meows, cow:moos, crow:caws, dog:barks, donkey:brays, dove:coos,
duck:quacks, frog:croaks, goose:honks, hen:clucks, horse:neighs, lion:roars, mouse:squeaks,
owl:hoots, pig:grunts, rooster:crows, sheep:bleats, snake:hisses, wolf:howls""")
HOMES = pairs("""
bee:hive, bird:nest, cow:byre, dog:kennel, horse:stable, king:palace, knight:castle,
monk:monastery, pig:sty, rabbit:burrow, spider:web, fox:den, beaver:lodge, sailor:ship,
soldier:barracks""")
PLURALS = pairs("""
child:children, man:men, woman:women, foot:feet, tooth:teeth, goose:geese, mouse:mice, ox:oxen,
leaf:leaves, knife:knives, wife:wives, wolf:wolves, half:halves, loaf:loaves, shelf:shelves,
thief:thieves, calf:calves, sheep:sheep, fish:fish, deer:deer, baby:babies, city:cities,
lady:ladies, berry:berries, cherry:cherries, pony:ponies, story:stories, box:boxes, bus:buses,
dish:dishes, fox:foxes, glass:glasses, watch:watches, brush:brushes, church:churches,
potato:potatoes, tomato:tomatoes, hero:heroes, bell:bells, boat:boats, book:books, cat:cats,
dog:dogs, hat:hats, key:keys, lamp:lamps, ring:rings, tree:trees, day:days, boy:boys, toy:toys""")
CAPITALS = pairs("""
Austria:Vienna, Belgium:Brussels, Denmark:Copenhagen, Egypt:Cairo, England:London,
Finland:Helsinki, France:Paris, Germany:Berlin, Greece:Athens, Hungary:Budapest,
Iceland:Reykjavik, India:New Delhi, Ireland:Dublin, Italy:Rome, Japan:Tokyo, Norway:Oslo,
Peru:Lima, Poland:Warsaw, Portugal:Lisbon, Russia:Moscow, Scotland:Edinburgh, Spain:Madrid,
Sweden:Stockholm, Wales:Cardiff""")
COLOURS = pairs("""
snow:white, milk:white, coal:black, soot:black, grass:green, spinach:green, blood:red, a ripe
tomato:red, a clear sky:blue, a lemon:yellow, a canary:yellow, butter:yellow, chocolate:brown, a
chestnut:brown, a carrot:orange, an elephant:grey, ash:grey, a flamingo:pink, a swan:white, a
raven:black, an emerald:green, a ruby:red, a sapphire:blue""")
WORK = pairs("""
baker:bakes bread, barber:cuts hair, beekeeper:keeps bees, blacksmith:shoes horses, builder:builds
houses, butcher:sells meat, captain:commands a ship, carpenter:works with wood, cook:prepares
meals, doctor:heals the sick, farmer:grows corn, fisher:catches fish, gardener:looks after plants,
glazier:puts in windows, hunter:hunts deer, innkeeper:runs an inn, judge:decides in court,
librarian:lends books, mason:works with stone, miller:grinds corn, miner:digs for coal,
nurse:cares for patients, painter:paints walls, pilot:flies a plane, poet:writes poems,
potter:makes pots, sailor:works on a ship, shepherd:looks after sheep, tailor:sews clothes,
teacher:teaches children, weaver:weaves cloth, woodcutter:cuts down trees""")
SENSES = pairs("""
see:eyes, hear:ears, smell:nose, taste:tongue, touch:fingers, walk:legs, kick:feet, bite:teeth,
think:brain, hug:arms, breathe:lungs""")
SIZES = w.words(
    "ant bee mouse frog squirrel rabbit cat fox sheep pig donkey cow horse giraffe elephant whale")
ONES = w.words(
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen "
    "sixteen seventeen eighteen nineteen")
TENS = w.words("twenty thirty forty fifty sixty seventy eighty ninety")


def number_word(n):
    """47 -> "forty-seven", for 0 to 99."""
    if n < 20:
        return ONES[n]
    return TENS[n // 10 - 2] + ("-" + ONES[n % 10] if n % 10 else "")


def table(facts):
    """{"hot": "cold"} -> words that know their partner: hot.other is cold, hot.Other is Cold."""
    return tuple(Word(key, other=Word(value), Other=Word(value).Cap)
                 for key, value in facts.items())


def number(n):
    return Word(str(n), n=n, name=number_word(n), tens=str(n // 10 * 10), ones=str(n % 10))


NUMBERS = tuple(number(n) for n in range(100))


@cache
def between(low, high):
    return NUMBERS[low:high + 1]


def only(function):
    """A draw with one possible word, worked out from the slots so far."""
    return lambda local: (Word(str(function(local))),)


def others(pool):
    """A draw from `pool` that differs from the slots so far."""
    return lambda local: tuple(word for word in pool if word not in local.values())


def spelled(word):
    return " ".join(word)


# Words whose letters are worth knowing: short, and met in the stories.
SPELLING = tuple(
    Word(word, spelled=spelled(word), back=word[::-1], spelled_back=spelled(word[::-1]),
         upper=word.upper(), length=str(len(word)), first=word[0], last=word[-1])
    for word in sorted({*w.THINGS, *w.CREATURES, *w.JOBS, *w.TRAITS, *w.LOOKS}) if len(word) <= 6)
UNCOUNTED = {"broccoli", "celery", "lettuce", "spinach"}.union(*(
    CATEGORIES[name] for name in ("colour", "drink", "language", "metal", "sport")))  # not "a gold"
KINDS = tuple(Word(name, many=name if name == "fish" else name + "s",
                   members=tuple(map(Word, members))) for name, members in CATEGORIES.items())
MEMBERS = tuple(Word(member, kind=kind, one=member if member in UNCOUNTED else member.a,
                     One=member.Cap if member in UNCOUNTED else member.A)
                for kind in KINDS for member in kind.members)
COUNTABLE = tuple(Word(many, one=one) for one, many in PLURALS.items() if one != many)
DATES = tuple(Word(word, next=names[(i + 1) % len(names)], before=names[i - 1],
                   nth=number_word(i + 1), what=what, many=many)
              for names, what, many in ((w.DAYS, "day", "days of the week"),
                                        (w.MONTHS, "month", "months of the year"))
              for i, word in enumerate(names))

COUNTED = w.words(
    "apples beans buttons cakes cards cherries coins eggs feathers flowers keys marbles nuts pears "
    "pebbles pencils plums ribbons shells stamps stones")
