"""The words of the little world: who can be met, what can be carried, where one can go.

Used   world/stories.py and world/topics.py draw from these lists, later parts make exercises.
Rule   a Word is a str that knows its other forms, so that "{x.a}" in a sentence gives "an apple".
"""


class Word(str):
    """A string with its forms as attributes: apple, .a an apple, .A An apple, .Cap Apple."""

    def __new__(cls, text, **forms):
        word = super().__new__(cls, text)
        vowel = text[0].lower() in "aeiou" and not text.startswith(("ewe", "use", "uni"))
        word.a = ("an " if vowel or text.startswith("hon") and text != "honey" else "a ") + text
        word.A = word.a[0].upper() + word.a[1:]
        word.Cap = text[0].upper() + text[1:]
        for name, form in forms.items():
            setattr(word, name, form)
        return word


def people(names, he, his, him):
    return tuple(Word(name, he=he, He=he.capitalize(), his=his, His=his.capitalize(), him=him)
                 for name in names.split())


def place(entry):
    """"mill|at|under the stairs,..." -> the mill, at the mill, to the mill, its hiding spots."""
    noun, where, spots = entry.split("|")
    return Word(f"the {noun}", noun=noun, at=f"{where} the {noun}", to=f"to the {noun}",
                spots=tuple(Word(spot) for spot in spots.split(",")))


def thing(entry):
    """"bell|call the sheep home" -> a bell, and what it is good for."""
    noun, use = entry.split("|")
    return Word(noun, use=use)


def words(text):
    return tuple(Word(word) for word in text.split())


GIRLS = people(
    "Ada Anna Bella Dora Emma Greta Ida Lena Lucy Mia Nina Olga", "she", "her", "her")
BOYS = people(
    "Ben Carl David Emil Felix Hugo Jack Leo Max Otto Paul Tom", "he", "his", "him")
NAMES = GIRLS + BOYS

JOBS = words(
    "baker blacksmith butcher carpenter cook doctor farmer fisher gardener hunter miller nurse "
    "painter pilot sailor shepherd singer soldier tailor teacher")

TRAITS = words(
    "brave bright busy calm careful cheerful clever curious dreamy eager forgetful friendly "
    "funny gentle grumpy hardworking honest hungry jolly kind lazy lonely lucky merry modest "
    "noisy old patient playful polite poor proud quiet restless shy sleepy strong stubborn "
    "tall thoughtful wise young")

# What makes this thing differ from others of its kind.
LOOKS = words(
    "beautiful big blue brass bright broken copper curious dusty fine golden green heavy iron "
    "little new old painted plain pretty red rusty shiny silver small smooth strange striped "
    "tiny white wooden wonderful yellow")

THINGS = tuple(thing(entry) for entry in """
apple|bake a small cake;axe|cut some firewood;ball|play with the children;basket|gather mushrooms
bell|call the sheep home;blanket|keep the baby warm;book|read aloud in the evening
broom|sweep the steps;bucket|fetch clean water;candle|read after dark;cheese|make a warm supper
cloak|stay dry in the rain;compass|find the way north;cup|drink hot tea;drum|play in the parade
feather|write a letter;fiddle|play at the dance;flag|wave at the ships;flute|play a song
hammer|mend the roof;hat|look like a captain;jar|store honey;kettle|boil water for tea
key|open the old door;kite|fly it in the wind;knife|carve a wooden horse;lamp|light up a dark room
lantern|light the way home;letter|learn the news;map|find the hidden valley
mask|surprise the guests;mirror|see behind the cart;net|catch butterflies;pearl|sell it for silver
picture|hang it over the bed;pie|eat it with cream;pot|cook for everyone;puppet|put on a show
ribbon|tie up a present;ring|look grand at the ball;rope|climb the cliff
scarf|wrap up against the frost;shell|hear the sea;shovel|dig for treasure;spoon|stir the porridge
sword|play pirates;tent|sleep under the stars;trumpet|wake the town;umbrella|keep off the rain
violin|play for the queen;wheel|repair the wagon;whistle|call the dog
""".replace("\n", ";").strip(";").split(";"))

PLACES = tuple(place(entry) for entry in """
bakery|at|behind the oven
barn|in|under the hay
beach|on|under some seaweed
bridge|on|beside the railing
castle|at|behind the throne
cave|in|behind a boulder
forest|in|under a fern
garden|in|among the roses
harbour|at|behind the lighthouse wall
hill|on|beside the lonely pine
inn|at|under the long table
library|in|between two thick volumes
market|at|under the vegetable stall
meadow|in|among the daisies
mill|at|behind the flour sacks
river|by|among the willows
school|at|under the blackboard
tower|in|beside the narrow window
""".strip().split("\n"))

SKIES = words(
    "bitter bright chilly clear cloudy cold cool crisp damp dark dry dull foggy fresh frosty "
    "golden grey hot icy lovely mild misty pale peaceful perfect pleasant quiet rainy silent "
    "snowy soft stormy sunny sweltering warm wet wild windy")
TIMES = words("morning afternoon evening day")
MONTHS = words(
    "January February March April May June July August September October November December")
DAYS = words("Monday Tuesday Wednesday Thursday Friday Saturday Sunday")
TOWNS = words(
    "Alder Ashby Birch Brook Cliffton Dale Elmwood Fairfield Glen Harrow Hazelby Kirkby "
    "Linden Marsh Millford Northby Oakham Redhill Rosby Sandwick Stony Thornby Westby Whitby "
    "Willowby")

DOINGS = tuple(Word(doing) for doing in """
admiring the view,chatting with a neighbour,chewing a straw,counting clouds,counting swallows
daydreaming,drawing in the dust,drinking tea,dozing,eating a sandwich,feeding the sparrows
gazing at the sky,humming a tune,juggling three pebbles,laughing at a joke,listening to the wind
looking for four-leaf clovers,making a list,mending a sock,peeling an onion,picking berries
playing with a kitten,polishing a boot,practising a speech,reading the newspaper,resting
scratching a mosquito bite,shelling peas,sharpening a pencil,singing,sketching a snail,sneezing
stretching,studying a beetle,tapping a rhythm,telling riddles,thinking about dinner
throwing stones into a puddle,tying a knot,waiting for the rain to stop,watching an ant,whistling
writing a poem,yawning
""".strip().replace("\n", ",").split(","))

CREATURES = words(
    "badger beaver blackbird butterfly cat cow crow cricket deer dog donkey dragonfly duck "
    "eagle fox frog goat goose hare hawk hedgehog hen heron horse kingfisher ladybird lamb "
    "lizard magpie mole moth mouse otter owl ox pheasant pig pigeon pony rabbit rat raven "
    "robin rooster seagull sheep snail sparrow spider squirrel stork swallow swan toad turtle "
    "weasel woodpecker wren")
CREATURE_DOINGS = tuple(Word(doing) for doing in """
blinked in the light,called twice,came to look,crossed the path,dashed past,drank from a puddle
fell asleep in the shade,followed them for a while,gave a cry,hid in the bushes
jumped over a ditch,looked up,made everyone laugh,moved on,nibbled at a leaf,passed by
rustled in the leaves,sat very still,scratched its ear,shook itself dry,stared at them
stretched and yawned,trotted by,wandered off,watched from far away,went about its business
""".strip().replace("\n", ",").split(","))

MOODS = words(
    "astonished bored cheered comforted content delighted disappointed excited glad grateful "
    "happy hopeful moved nervous peaceful pleased puzzled relieved satisfied serious "
    "surprised thankful tired touched worried")
GLAD = words(
    "cheered comforted content delighted glad grateful happy peaceful pleased relieved "
    "satisfied thankful")
SAD = words(
    "cross disappointed downcast glum heartbroken lost miserable sad sorry tearful troubled "
    "unhappy upset worried")
MEALS = tuple(Word(meal) for meal in """
apple pie,bean soup,bread and butter,carrot stew,cheese and crackers,cherry cake,chicken broth
corn bread,dumplings,fried eggs,ginger biscuits,hot chocolate,leek soup,mashed potatoes
mushroom pie,noodle soup,oat porridge,pancakes,pea soup,plum pudding,pumpkin soup,rice pudding
roast chestnuts,salad,strawberry tart,toast and jam,tomato soup,vegetable stew,walnut bread
""".strip().replace("\n", ",").split(","))
LESSONS = tuple(Word(lesson) for lesson in """
a friend is worth more than silver,a good deed comes back,asking costs nothing
borrowed things must be looked after,every road leads somewhere
good things come to those who share,haste makes waste,honesty is the best plan
it is wise to look twice,kind words open doors,nothing is lost while someone remembers it
patience brings its reward,small things can matter a great deal,two heads are better than one
what is shared is never lost
""".strip().replace("\n", ",").split(","))
